import type { JSX } from "preact";
import { Title, Trouble, Waiting } from "../parts/basics";
import { useLoaded } from "../load";
import { count, day, percent } from "../text";
import type { Model, Page } from "../types";

export function Models(): JSX.Element {
  const models = useLoaded<Page<Model>>("/models?limit=100", 10);
  return (
    <>
      <Title note="Each job that succeeds makes a model. An alias names the one in production.">
        Models
      </Title>
      {models.error && <Trouble error={models.error} retry={() => void models.reload()} />}
      {!models.value && !models.error && <Waiting />}
      {models.value?.data.length === 0 && <p>No models yet.</p>}
      <ul class="cards">
        {models.value?.data.map((model) => {
          const accuracy = model.metrics[model.served === "tuned" ? "tuned" : "zero_shot"]?.accuracy;
          return (
            <li key={model.id}>
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
            </li>
          );
        })}
      </ul>
    </>
  );
}
