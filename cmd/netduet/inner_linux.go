package main

import "fmt"

// inner handles the commands by which netduet starts itself again, and refuses
// the rest.
func inner(args []string) error {
	switch args[0] {
	case cmdUnprivileged:
		return becomeUnprivileged(args[1:])
	case cmdDemoInside:
		return demoInside(args[1:])
	case cmdPktInside:
		return pkt(args[1:], true)
	}
	return fmt.Errorf("unknown command %q: see netduet help", args[0])
}
