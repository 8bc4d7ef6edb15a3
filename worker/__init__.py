"""The Celery application that runs tuning jobs. Thin: it calls app's services and dspt."""
