"""The Celery application that runs tuning jobs with app's services and dspt."""
