import type { JSX } from "preact";
import { address, del } from "../api";
import { Sentence, Title, Trouble, Waiting } from "../parts/basics";
import { Confirm } from "../parts/confirm";
import { Drift } from "../parts/drift";
import { Promote } from "../parts/promote";
import { Snippets } from "../parts/snippets";
import { Try } from "../parts/try";
import { useLoaded } from "../load";
import { go } from "../router";
import { count, day } from "../text";
import type { Model } from "../types";

export function ModelPage(props: { id: string }): JSX.Element {
  const model = useLoaded<Model>(`/models/${props.id}`);
  const found = model.value;
  if (!found) return model.error ? <Trouble error={model.error} /> : <Waiting />;
  return (
    <>
      <Title
        note={`${day(found.created_at)}, ${found.backbone}, ${count(found.classes.length, "class", "classes")}`}
      >
        {found.name}
      </Title>
      <p class="choices">
        {found.job_id && (
          <a class="button" href={`#/jobs/${found.job_id}`}>
            Its job
          </a>
        )}
        <a class="button" href={address(`/models/${found.id}/card?format=markdown`)} download>
          Model card
        </a>
        <a class="button" href={address(`/models/${found.id}/artifact`)} download>
          Download the model
        </a>
        <a class="button" href={`#/models/${found.id}/label`}>
          Photos to label next
        </a>
        <a class="button" href={`#/compare?a=${found.id}`}>
          Compare
        </a>
        <Confirm
          button="Delete"
          title="Delete the model"
          run={async () => {
            await del(`/models/${found.id}`);
            go("/models");
          }}
        >
          {found.name} ({found.id}) will classify nothing any more. Its job stays.
        </Confirm>
      </p>
      {found.metrics.why && (
        <p>
          <Sentence text={found.metrics.why} />
        </p>
      )}
      <Try model={found.id} />
      <Promote model={found} changed={() => void model.reload()} />
      {found.drift && <Drift drift={found.drift} model={found.id} />}
      <Snippets model={found.aliases?.[0] ?? found.id} />
    </>
  );
}
