"""Aliases: moved, rolled back, removed, each step kept; on each database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.kit.http.rules import Scope
from app.kit.ids import new_id
from app.kit.settings import Settings
from app.models.resolve import resolve
from app.tables.models import AliasMove
from tests.integration.access import Service, User, served
from tests.integration.conftest import MigratedDatabase
from tests.integration.jobs import problem

AN_ID = "mdl_01m824qkq2h5j9gxtwxb0mj7bk"
"""Of no model."""


@pytest.fixture(scope="module")
def service(
    migrated: MigratedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("aliases")
    with (
        migrated(folder / "data") as url,
        served(Settings(data_dir=folder / "data", database_url=url)) as opened,
    ):
        yield opened


@pytest.fixture
def ann(service: Service) -> User:
    """A new owner for each test."""
    return User(service, f"ann {new_id('x')}")


@pytest.fixture
def bob(service: Service) -> User:
    return User(service, f"bob {new_id('x')}")


def test_an_alias_moves_from_model_to_model(ann: User) -> None:
    first, second = ann.add_models(2)
    ann.move("production", first, second)
    assert ann.target("production") == second
    shown = {m["id"]: m["aliases"] for m in ann.send("GET", "/models").json()["data"]}
    assert shown == {first: [], second: ["production"]}
    ann.move("a.b-c_1", second)
    assert ann.send("GET", f"/models/{second}").json()["aliases"] == ["a.b-c_1", "production"]
    listed = ann.send("GET", "/aliases").json()["data"]
    assert [(a["name"], a["model_id"], a["owner"]) for a in listed] == [
        ("a.b-c_1", second, ann.owner),
        ("production", second, ann.owner),
    ]
    for alias in listed:
        assert ann.send("GET", alias["links"]["self"]).json()["id"] == alias["id"]
        assert ann.send("GET", alias["links"]["model"]).json()["id"] == second


def test_each_step_is_kept_with_the_key_that_did_it(ann: User) -> None:
    first, second = ann.add_models(2)
    ann.move("production", first, first, second)  # to where it is already is no step
    other = User(ann.service, ann.owner)
    other.move("production", first)
    steps = ann.history("production")
    assert [(s["number"], s["previous_model_id"], s["model_id"]) for s in steps] == [
        (1, None, first),
        (2, first, second),
        (3, second, first),
    ]
    assert steps[0]["key_id"] == steps[1]["key_id"] != steps[2]["key_id"]
    assert all(step["key_id"].startswith("key_") for step in steps)
    assert [s["moved_at"] for s in steps] == sorted(s["moved_at"] for s in steps)
    assert ann.send("GET", "/aliases/production").json()["moved_at"] == steps[-1]["moved_at"]


def test_the_history_and_the_list_are_read_in_pages(ann: User) -> None:
    models = ann.add_models(2)
    ann.move("production", *models, *models, models[0])
    seen: list[int] = []
    url = "/aliases/production?limit=2"
    while True:
        page = ann.send("GET", url).json()
        seen += [step["number"] for step in page["history"]]
        if not page["has_more"]:
            break
        url = f"/aliases/production?limit=2&before={page['next']}"
    assert page["next"] is None
    assert seen == [5, 4, 3, 2, 1]
    ann.move("staging", models[0])
    page = ann.send("GET", "/aliases?limit=1").json()
    assert [alias["name"] for alias in page["data"]] == ["staging"]
    page = ann.send("GET", f"/aliases?limit=1&after={page['next']}").json()
    assert [alias["name"] for alias in page["data"]] == ["production"]
    assert not page["has_more"]


def test_put_and_rollback_with_the_version_that_was_seen(ann: User) -> None:
    first, second, third = ann.add_models(3)

    def put(model: str, **headers: str) -> Any:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return ann.send("PUT", "/aliases/production", json={"model": model}, headers=named)

    problem(put(first, If_Match='"1"'), 412, "precondition_failed")
    made = put(first, If_None_Match="*")
    assert (made.status_code, made.headers["etag"]) == (200, '"1"')
    problem(put(second, If_None_Match="*"), 412, "precondition_failed")
    assert put(second, If_Match='"1"').json()["model_id"] == second
    assert put(second, If_Match='"1"').headers["etag"] == '"2"'  # repeated: nothing changes
    problem(put(third, If_Match='"1"'), 412, "precondition_failed")
    problem(put(third, If_Match="2"), 400, "bad_etag")
    problem(put("mdl_x"), 404, "model_not_found")
    assert put(third).headers["etag"] == '"3"'

    where = "/aliases/production"
    seen = {"If-Match": ann.send("GET", where).headers["etag"]}
    for _ in range(2):
        moved = ann.send("POST", f"{where}/rollback", headers=seen)
        assert (moved.json()["model_id"], moved.headers["etag"]) == (second, '"4"')
    late = ann.send("POST", f"{where}/rollback", headers={"If-Match": '"2"'})
    problem(late, 412, "precondition_failed")
    bad = ann.send("PUT", f"/aliases/{AN_ID}", json={"model": first})
    problem(bad, 422, "invalid_request")


def test_rollbacks_go_back_one_after_the_other(ann: User) -> None:
    """And not to and fro: the model that was left behind was left for a reason."""
    first, second, third, fourth = ann.add_models(4)
    ann.move("production", first, second, third)
    response = ann.roll_back("production")
    assert response.status_code == 200, response.text
    assert response.json()["model_id"] == second
    ann.move("production", fourth)
    assert [ann.roll_back("production").json()["model_id"] for _ in range(2)] == [second, first]
    detail = problem(ann.roll_back("production"), 409, "no_model_before")["detail"]
    assert detail.endswith("has no previous model. Point it to another model.")
    assert ann.target("production") == first
    ends = [step["model_id"] for step in ann.history("production")]
    assert ends == [first, second, third, second, fourth, second, first]


def test_nothing_rolls_back_to_a_model_that_was_deleted(ann: User) -> None:
    first, second = ann.add_models(2)
    ann.move("production", first, second)
    assert ann.send("DELETE", f"/models/{first}").status_code == 204
    assert first in problem(ann.roll_back("production"), 409, "model_deleted")["detail"]
    assert ann.target("production") == second
    assert [step["model_id"] for step in ann.history("production")] == [first, second]


def test_a_removed_alias_is_gone_and_its_history_goes_on(ann: User) -> None:
    model = ann.add_model()
    ann.move("production", model)
    assert ann.send("DELETE", "/aliases/production").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rollback")):
        problem(ann.send(method, f"/aliases/production{path}"), 404, "alias_not_found")
    assert ann.send("GET", "/aliases").json()["data"] == []
    assert ann.send("GET", f"/models/{model}").json()["aliases"] == []
    ann.move("production", model)
    assert [step["model_id"] for step in ann.history("production")] == [model, None, model]
    problem(ann.roll_back("production"), 409, "no_model_before")


def test_a_model_in_use_is_not_deleted(ann: User) -> None:
    model, other = ann.add_models(2)
    ann.move("production", model)
    ann.move("canary", model)
    body = problem(ann.send("DELETE", f"/models/{model}"), 409, "model_in_use")
    assert [item["param"] for item in body["errors"]] == ["canary", "production"]
    assert "Point each alias to another model or remove it" in body["detail"]
    ann.move("production", other)
    assert ann.send("DELETE", "/aliases/canary").status_code == 204
    assert ann.send("DELETE", f"/models/{model}").status_code == 204


def test_a_model_is_renamed(ann: User) -> None:
    model = ann.add_model()
    response = ann.change(model, name="  Shirts\tand mugs ", alias="production")
    assert (response.json()["name"], response.json()["aliases"]) == (
        "Shirtsand mugs",
        ["production"],
    )
    assert ann.change(model).json()["name"] == "Shirtsand mugs"  # nothing to change is no error
    assert ann.send("GET", f"/models/{model}").json() == response.json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("alias", alias)
            for alias in ("", "-a", "Production", "a b", "a/b", "x" * 64, "é", "a\n", 3)
        ),
        ("alias", AN_ID),
        ("name", " \t"),
        ("name", "x" * 201),
        ("colour", "red"),
    ],
)
def test_a_change_that_cannot_be_is_refused_as_a_whole(ann: User, field: str, value: Any) -> None:
    model = ann.add_model()
    body = problem(
        ann.change(model, **({"name": "new", "alias": "new"} | {field: value})),
        422,
        "invalid_request",
    )
    assert [item["param"] for item in body["errors"]] == [field]
    found = ann.send("GET", f"/models/{model}").json()
    assert (found["name"], found["aliases"]) == ("a", [])


@pytest.mark.parametrize("name", ["nothing", "a%00b", "Production", AN_ID])
def test_an_alias_that_there_is_not(ann: User, name: str) -> None:
    problem(ann.send("GET", f"/aliases/{name}"), 404, "alias_not_found")


def test_a_name_is_each_owners_own(service: Service, ann: User, bob: User) -> None:
    anns, bobs = ann.add_model(), bob.add_model()
    ann.move("production", anns)
    problem(bob.change(anns, alias="production"), 404, "model_not_found")
    problem(bob.send("GET", "/aliases/production"), 404, "alias_not_found")
    elsewhere = {"owner": ann.owner}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rollback")):
        response = bob.send(method, f"/aliases/production{path}", params=elsewhere)
        problem(response, 404, "alias_not_found")
    bob.move("production", bobs)
    assert (ann.target("production"), bob.target("production")) == (anns, bobs)
    assert len(bob.send("GET", "/aliases").json()["data"]) == 1


def test_models_are_found_by_id_and_by_the_aliases_of_who_asks(
    service: Service, ann: User, bob: User
) -> None:
    first, second = ann.add_model(), bob.add_model()
    ann.move("production", first)
    bob.move("production", second)
    asked = {
        (ann.owner, "production"): (first, ann.owner, "production"),
        (bob.owner, "production"): (second, bob.owner, "production"),
        (bob.owner, first): (first, ann.owner, None),
        **{(ann.owner, name): None for name in ("staging", "a\0b", "", AN_ID)},
    }
    with service.context.database.read() as session:
        found = resolve(session, [*asked, *asked])
    answers = [model and (model.id, model.owner, model.alias) for model in found]
    assert answers == [*asked.values(), *asked.values()]


def test_an_admin_moves_what_stays_its_owners(service: Service, ann: User) -> None:
    first, second = ann.add_models(2)
    root = User(service, "root", Scope.ADMIN)
    root.move("production", first, second)
    assert ann.target("production") == second
    # By its name alone an admin means his own, as everybody does.
    problem(root.send("GET", "/aliases/production"), 404, "alias_not_found")
    named = {"owner": ann.owner}
    assert root.send("POST", "/aliases/production/rollback", params=named).status_code == 200
    assert ann.target("production") == first
    found = root.send("GET", "/aliases?limit=100").json()["data"]
    [link] = [alias["links"]["self"] for alias in found if alias["owner"] == ann.owner]
    assert root.send("GET", link).json()["model_id"] == first
    problem(root.send("GET", "/aliases/production?owner=a%00b"), 404, "alias_not_found")
    assert root.send("DELETE", "/aliases/production", params=named).status_code == 204
    problem(ann.send("GET", "/aliases/production"), 404, "alias_not_found")


def test_moves_at_once_are_made_one_after_the_other(ann: User) -> None:
    models = ann.add_models(12)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda model: ann.change(model, alias="production"), models))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["aliases"] == ["production"] for answer in answers)
    steps = ann.history("production")
    assert [step["number"] for step in steps] == list(range(1, 13))
    assert sorted(step["model_id"] for step in steps) == sorted(models)
    before = [None, *(step["model_id"] for step in steps[:-1])]
    assert [step["previous_model_id"] for step in steps] == before
    assert ann.target("production") == steps[-1]["model_id"]


def test_a_model_is_deleted_or_pointed_to_never_both(ann: User) -> None:
    with ThreadPoolExecutor(2) as pool:
        for model in ann.add_models(8):
            moved = pool.submit(ann.change, model, alias="production")
            deleted = pool.submit(ann.send, "DELETE", f"/models/{model}")
            outcome = (moved.result().status_code, deleted.result().status_code)
            assert outcome in ((200, 409), (404, 204))
            if outcome[0] == 200:
                assert ann.target("production") == model


@pytest.mark.parametrize("statement", ["UPDATE alias_moves SET model_id = 'x'", "DELETE FROM {}"])
def test_the_database_itself_keeps_the_history(ann: User, statement: str) -> None:
    ann.move("production", ann.add_model())
    database = ann.service.context.database
    with pytest.raises(IntegrityError, match="append-only"), database.write() as session:
        session.execute(text(statement.format(AliasMove.__tablename__)))
