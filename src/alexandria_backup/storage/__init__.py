"""Where objects are kept: one port, and its adapters for memory, folders, S3, GCS and Azure."""
