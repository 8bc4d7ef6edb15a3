"""Which packages `dspt doctor` looks for."""

from __future__ import annotations

from app.doctor.installation import _wanted


def test_requirements_of_this_python_are_sorted_by_extra() -> None:
    texts = [
        "httpx>=0.28",
        "backports-zstd>=1.3; python_version >= '3.11'",
        "old-backport; python_version < '3.11'",
        "winshell; sys_platform == 'nowhere'",
        'obstore; extra == "s3"',
        "uvloop; python_version >= '3.11' and extra == 'server'",
        "tomli; extra == 'server' and python_version < '3.11'",
    ]
    found = _wanted(texts, ["server", "s3"])
    assert {extra: [each.name for each in some] for extra, some in found.items()} == {
        "": ["httpx", "backports-zstd"],
        "s3": ["obstore"],
        "server": ["uvloop"],
    }
