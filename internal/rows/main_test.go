package rows

import (
	"testing"

	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
