//go:build netsocket && netgvisor && !netdirect

package stack

import "context"

// Backend does not compile: the identifier is the message that the compiler
// prints when tags that exclude each other are given. open stands here so that
// it is the only one.
const Backend = build_tags_netsocket_and_netgvisor_exclude_each_other__give_one_of_them

func open(context.Context, *Config) (Stack, error) { return nil, nil }
