//go:build !linux || !(amd64 || arm64)

package kernel

import "github.com/netduet/netduet/conformance/player"

// Play returns ErrUnavailable.
func Play(*player.Plan, player.Config) (player.Result, error) {
	return player.Result{}, ErrUnavailable
}
