package plane_test

import "github.com/refold-dev/refold/internal/testenv"

// children are the processes that tests of this package kill.
var children = testenv.Children{}
