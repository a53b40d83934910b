// Not a module to be used: this file keeps the go command from taking the overlay for packages of refold.
module github.com/refold-dev/refold/examples/upgrade

go 1.26.0
