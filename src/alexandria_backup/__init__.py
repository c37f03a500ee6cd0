"""Alexandria Backup: backup and restore for applications on PostgreSQL, planned and proved."""
