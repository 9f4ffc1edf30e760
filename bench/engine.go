package main

// Names of engines.
const (
	engineDirect      = "direct"
	engineDirectPlain = "direct-plain"
	engineGvisor      = "gvisor"
	engineGvisorOwn   = "gvisor-own"
	engineKernel      = "kernel"
	engineNull        = "null"
)

// engine is one implementation on one kind of device.
type engine struct {
	Name, About string
	plain       bool // the tap has no virtio header
}

// allEngines is in the order of the columns.
func allEngines() []engine {
	return []engine{
		{Name: engineDirect, About: "our engine on a tap with offloads"},
		{Name: engineDirectPlain, About: "our engine on a plain tap", plain: true},
		{Name: engineGvisor, About: "gVisor's netstack on our tap with offloads"},
		{Name: engineGvisorOwn, About: "gVisor's netstack on its own link (fdbased) over a plain tap", plain: true},
		{Name: engineKernel, About: "kernel sockets over a veth pair"},
		{Name: engineNull, About: "no stack: frames turned round on a tap with offloads, the device's ceiling"},
	}
}
