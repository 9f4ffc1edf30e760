package stack

import "context"

// Open validates cfg and starts the stack that the build chose (see [Backend]).
// A nil cfg stands for the zero Config. The context bounds the opening only, not
// the stack's life.
//
// Open takes what it needs out of cfg and does not keep it. When it fails,
// nothing it opened stays open, and a Driver of the caller's is still the
// caller's.
func Open(ctx context.Context, cfg *Config) (Stack, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return open(ctx, cfg)
}
