import type { JSX } from "preact";
import { Title } from "../parts/basics";
import { List } from "../parts/list";
import { usePages } from "../pages";
import { count, day, percent } from "../text";
import type { Model } from "../types";

export function Models(): JSX.Element {
  const models = usePages<Model>("/models", 10);
  return (
    <>
      <Title note="Each job that succeeds makes a model. An alias names the one in production.">
        Models
      </Title>
      {(models.items?.length ?? 0) > 1 && (
        <p>
          <a class="button" href="#/compare">
            Compare two models
          </a>
        </p>
      )}
      <List pages={models} empty="No models yet." row={(model) => <Row model={model} />} />
    </>
  );
}

function Row(props: { model: Model }): JSX.Element {
  const { model } = props;
  const accuracy = model.metrics[model.served === "tuned" ? "tuned" : "zero_shot"]?.accuracy;
  return (
    <a class="card row" href={`#/models/${model.id}`}>
      <strong>{model.name}</strong>
      {model.aliases?.map((name) => (
        <span key={name} class="badge succeeded">
          {name}
        </span>
      ))}
      <span class="quiet">{day(model.created_at)}</span>
      <span class="quiet">{count(model.classes.length, "class", "classes")}</span>
      {accuracy !== undefined && <span>{percent(accuracy)} right</span>}
    </a>
  );
}
