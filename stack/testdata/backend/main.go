// Command backend prints which backend it was built with. The build test runs it
// under every combination of tags.
package main

import (
	"fmt"

	"github.com/netduet/netduet/stack"
)

func main() { fmt.Println(stack.Backend) }
