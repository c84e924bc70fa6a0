//go:build !linux

package successor

import "errors"

func adopt() error { return errors.ErrUnsupported }
