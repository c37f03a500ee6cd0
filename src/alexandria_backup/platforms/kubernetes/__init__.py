"""An application that Kubernetes runs."""
