"""An application that systemd runs, as on a host with Quadlet."""
