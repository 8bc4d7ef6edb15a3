"""Alembic's scripts. They lie in the package so that every installation can migrate."""
