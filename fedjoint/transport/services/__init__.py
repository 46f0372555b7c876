"""What holders' nodes ask of their exchange, call by call, on the port of the links."""
