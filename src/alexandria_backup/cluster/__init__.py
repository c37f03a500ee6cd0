"""The Kubernetes API in one place, for what runs the application and for where a DSN is."""
