import { type Model, useKey, whenLocked } from "./api.ts";
import { CallPanel } from "./call_panel.ts";
import { byId } from "./dom.ts";
import { offerIris } from "./iris_panel.ts";
import { ModelsPanel } from "./models_panel.ts";
import { startSettings } from "./settings.ts";
import { TrafficPanel } from "./traffic_panel.ts";

const fact = (name: string): string =>
  document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";

startSettings();
const keyForm = byId("key-form", HTMLFormElement);
whenLocked(() => {
  keyForm.hidden = false;
});
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key", HTMLInputElement).value);
  keyForm.hidden = true;
});
const call = new CallPanel({ port: Number(fact("grpc-port")), tls: fact("grpc-tls") === "true" }, (model) =>
  models.setCurrent(model),
);
const showModels = (list: readonly Model[]): void => {
  call.setModels(list);
  void offerIris(list, (model, sizes) => call.suggest(model, { instances: [sizes] }));
};
const models = new ModelsPanel(showModels, (model) => {
  call.pick(model);
  document.getElementById("call")?.scrollIntoView();
  document.getElementById("pick-signature")?.focus({ preventScroll: true });
});
new TrafficPanel();
