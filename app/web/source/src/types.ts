import type { components } from "./schema.d.ts";

type Schemas = components["schemas"];
export type Job = Schemas["JobView"];
export type JobChange = Schemas["JobChange"];
export type JobEvent = Schemas["EventView"];
export type Epoch = Schemas["EpochMetrics"];
export type Progress = Schemas["JobProgress"];
export type Metrics = Schemas["TuningMetrics"];
export type Classifier = Schemas["ClassifierMetrics"];
export type NoiseRate = Schemas["NoiseRateView"];
export type Audit = Schemas["AuditView"];
export type AuditEntry = Schemas["AuditEntryView"];
export type JobPredictions = Schemas["JobPredictions"];
export type Photo = Schemas["PhotoView"];
export type Dataset = Schemas["DatasetDetail"];
export type Upload = Schemas["UploadView"];
export type PhotoPage = Schemas["PhotoPage"];
export type ReviewView = Schemas["ReviewView"];
export type Health = Schemas["DatasetHealth"];
export type Model = Schemas["ModelView"];
export type Drift = Schemas["Drift"];
export type Alias = Schemas["AliasView"];
export type AliasHistory = Schemas["AliasHistory"];
export type Batch = Schemas["BatchView"];
export type Comparison = Schemas["ComparisonView"];
export type Ready = Schemas["Ready"];
export type Key = Schemas["KeyView"];
export type CreatedKey = Schemas["CreatedKey"];
export type Captured = Schemas["CapturedView"];
export type Backbone = Schemas["BackboneView"];
export type Session = Schemas["SessionView"];
export type Problem = Schemas["Problem"];
export type Answer = Schemas["PredictResponse"];
export type Prediction = Schemas["Prediction"];

export interface Page<T> {
  data: T[];
  has_more: boolean;
  next?: string | null;
}
