import { render, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import "./style.css";
import { ApiError, del, get, whenSignedOut } from "./api";
import { Title, Trouble, Waiting } from "./parts/basics";
import { Theme } from "./parts/theme";
import { BatchPage, Batches } from "./pages/batches";
import { Compare } from "./pages/compare";
import { Jobs } from "./pages/jobs";
import { JobPage } from "./pages/job";
import { Difference } from "./pages/difference";
import { HealthPage, JobHealth } from "./pages/health";
import { Keys } from "./pages/keys";
import { LabelPage } from "./pages/label";
import { Matrix } from "./pages/matrix";
import { ModelPage } from "./pages/model";
import { Models } from "./pages/models";
import { NewJob } from "./pages/new";
import { ReviewPage } from "./pages/review";
import { Service } from "./pages/service";
import { SignIn } from "./pages/sign-in";
import { go, useRoute, type Route } from "./router";
import type { Session } from "./types";

/** Each view by the first and third part of its address; the second is an id. */
const views: Record<string, (id: string, route: Route, session?: Session) => JSX.Element> = {
  jobs: () => <Jobs />,
  "jobs//": (id) => <JobPage key={id} id={id} />,
  "jobs//review": (id, route, session) => (
    <ReviewPage key={id} id={id} route={route} session={session} />
  ),
  "jobs//difference": (id) => <Difference key={id} id={id} />,
  "jobs//matrix": (id, route) => <Matrix key={id} id={id} route={route} />,
  "jobs//health": (id) => <JobHealth key={id} id={id} />,
  "datasets//": (id) => <HealthPage key={id} id={id} />,
  models: () => <Models />,
  "models//": (id) => <ModelPage key={id} id={id} />,
  batches: () => <Batches />,
  "batches//": (id) => <BatchPage key={id} id={id} />,
  compare: (_, route) => <Compare route={route} />,
  keys: (_id, _route, session) => <Keys session={session} />,
  service: () => <Service />,
  "models//label": (id, route) => <LabelPage key={id} id={id} route={route} />,
  new: (_id, _route, session) => <NewJob demo={session?.demo_photos ?? false} />,
};

function View(props: { route: Route; session?: Session }): JSX.Element {
  const [first = "jobs", id = "", ...rest] = props.route.path;
  const view = views[id ? `${first}//${rest.join("/")}` : first];
  return view ? view(id, props.route, props.session) : <Unknown />;
}

const Unknown = (): JSX.Element => (
  <>
    <Title>There is no such page</Title>
    <p>
      <a href="#/jobs">All jobs</a>, <a href="#/models">all models</a>
    </p>
  </>
);

function Navigation(props: { route: Route; session?: Session; out: () => void }): JSX.Element {
  const here = props.route.path[0] ?? "jobs";
  const link = (name: string, text: string): JSX.Element => (
    <a href={`#/${name}`} aria-current={here === name ? "page" : undefined}>
      {text}
    </a>
  );
  return (
    <nav aria-label="Main">
      <a class="brand" href="#/jobs">
        DSPT
      </a>
      {props.session && (
        <>
          {link("jobs", "Jobs")}
          {link("new", "New job")}
          {link("models", "Models")}
          {link("batches", "Batches")}
          {props.session.scopes.includes("admin") && link("keys", "Keys")}
        </>
      )}
      <span class="space" />
      {props.session?.signed_in && (
        <button class="plain" onClick={props.out}>
          Sign out {props.session.owner}
        </button>
      )}
      <Theme />
    </nav>
  );
}

function App(): JSX.Element {
  const route = useRoute();
  // Undefined while it loads: the view need not wait for it, and gives way to the sign-in if there is none.
  const [session, setSession] = useState<Session | null>();
  const [error, setError] = useState<ApiError>();
  const load = async (): Promise<void> => {
    try {
      setSession(await get<Session>("/session"));
      setError(undefined);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      if (failed.status === 401) setSession(null);
      else setError(failed);
    }
  };
  useEffect(() => {
    whenSignedOut(() => setSession(null));
    void load();
  }, []);
  const signOut = async (): Promise<void> => {
    await del("/session");
    setSession(null);
    go("/sign-in");
    await load();
  };
  const link = route.query.get("link");
  let view: JSX.Element;
  if (error) view = <Trouble error={error} retry={() => void load()} />;
  else if (session === undefined && route.path[0] === "sign-in") view = <Waiting />;
  else if (session === null || (route.path[0] === "sign-in" && link)) {
    view = (
      <SignIn
        link={session === null ? link : null}
        signedIn={(started) => {
          setSession(started);
          if (route.path[0] === "sign-in") go("/jobs");
        }}
      />
    );
  } else view = <View route={route} session={session} />;
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Navigation route={route} session={session ?? undefined} out={() => void signOut()} />
      <main id="main" tabIndex={-1}>
        {view}
      </main>
    </>
  );
}

/** The fragment holds the route, so the link moves the focus itself. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

const root = document.getElementById("app");
if (root) render(<App />, root);
