//go:build netgvisor && !netdirect && !netsocket

package stack

import "context"

// Backend does not compile: the identifier is the message that the compiler
// prints, which is more use than a missing package would be.
const Backend = build_tag_netgvisor_names_an_engine_that_this_version_does_not_contain__use_netdirect_or_netsocket

func open(context.Context, *Config) (Stack, error) { return nil, nil }
