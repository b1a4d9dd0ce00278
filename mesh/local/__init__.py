"""The local runner: real servers and the services of the mesh as processes on this machine, without Docker."""
