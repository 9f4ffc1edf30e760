// Package stack is what applications import: one network interface, [Stack], and
// [Open], which gives the implementation that the build chose.
//
// It is not a network itself. The backends (direct, socket, gvisor) are packages
// of their own that do not import this one: the interface is made of standard
// types, so that they satisfy it by their methods alone.
//
// # Choosing the backend
//
// Build tags choose, and exactly one backend is linked:
//
//	go build                     socket where an operating system has sockets,
//	                             direct on js, wasip1 and tamago
//	go build -tags netsocket     the host's sockets
//	go build -tags netdirect     our own protocols over a network device
//	go build -tags netgvisor     gVisor's netstack over a network device
//
// Two of the tags at once do not compile; the one error names both. [Backend]
// says which one a program got.
//
// # Configuring
//
// A [Config] may be written down in the program, read from the environment or
// taken from flags, so that one binary moves between networks:
//
//	cfg := stack.ConfigFromEnv()         // NETDUET_DEVICE, NETDUET_ADDR, …
//	cfg.RegisterFlags(flag.CommandLine)  // -dev, -addr, … override them
//	flag.Parse()
//	s, err := stack.Open(ctx, cfg)
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err)
//		os.Exit(2)
//	}
//	defer s.Close()
//
// A flag or variable that can't be parsed does not fail where it is read: Open
// (and Validate) reports it, in one line that says how to write it, and a flag
// may still override a bad variable.
//
//	flag            variable               value
//	-dev            NETDUET_DEVICE         tap:tap0, fd:3, packet:eth0, xen:0
//	-addr           NETDUET_ADDR           10.0.0.2/24
//	-gw             NETDUET_GATEWAY        10.0.0.1
//	-dns            NETDUET_DNS            10.0.0.1,192.0.2.53:5353 (list)
//	-host           NETDUET_HOSTS          db=10.0.0.7 (list)
//	-mac            NETDUET_MAC            02:00:00:00:00:07
//	-mtu            NETDUET_MTU            1500
//	-vlan           NETDUET_VLAN           42
//	-memory         NETDUET_MEMORY         64M
//	-close-timeout  NETDUET_CLOSE_TIMEOUT  5s
//
// A list is separated by commas, and its flag may be repeated.
//
// Every backend validates the whole configuration, also what it then ignores:
// the socket backend plays on the host's own interfaces and says in one line of
// its log which settings had no effect.
package stack
