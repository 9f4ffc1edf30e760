// Command probe is what xentest runs in a Xen domain: each command is one test of
// the drivers against a real netback, and exits with status 0 if it passed.
//
//	probe pair      both ends in Go, over the kernel's devices
//	probe plug      make a vif for this domain, with the kernel's netback behind it
//	probe smoke     connect, resolve, ping, burst, close
//	probe crash     connect and leave without a word
//	probe bad       1,000 malformed requests among good ones
//	probe client    send through the echo server and compare
//	probe get       fetch a page by HTTP
//	probe write     write a key of the xenstore
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"plug": plug, "smoke": smoke, "crash": crash, "bad": bad, "client": client, "pair": pair, "get": get, "write": write}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "probe: pair, plug, smoke, crash, bad, client or get")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Println("probe:", err)
		os.Exit(1)
	}
}

// flags parses a command's arguments.
func flags(name string, args []string, define func(*flag.FlagSet)) {
	f := flag.NewFlagSet(name, flag.ExitOnError)
	define(f)
	f.Parse(args)
}
