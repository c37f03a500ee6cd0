"""What an operator deploys: container files, Kustomize, units of systemd."""
