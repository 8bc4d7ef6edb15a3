"""Operations on finished classifiers: add classes by name, compare two."""
