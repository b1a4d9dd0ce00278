"""What makes a service part of the mesh: values, bus, RPC, lifecycle; and `python -m mesh`, the local runner."""
