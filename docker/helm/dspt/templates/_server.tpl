{{/*
Deployment, Service, disruption budget and autoscaler of API processes. dict: root; component; values;
env: its own settings; port: of the Service.
*/}}
{{- define "dspt.server" -}}
{{- $values := .values }}
{{- $stop := .root.Values.stop }}
{{- $keys := list "database-url" "broker-url" "storage-url" }}
{{- if .root.Values.secrets.bootstrapKey }}{{ $keys = append $keys "bootstrap-key" }}{{ end }}
{{- if .root.Values.secrets.signingKey }}{{ $keys = append $keys "signing-key" }}{{ end }}
{{- $env := merge .env (dict
  "DSPT_HOST" "0.0.0.0"
  "DSPT_PORT" "8000"
  "DSPT_STOP_DELAY_SECONDS" ($stop.delaySeconds | toString)
  "DSPT_STOP_TIMEOUT_SECONDS" ($stop.timeoutSeconds | toString)
  "DSPT_MAX_UPLOAD_BYTES_IN_FLIGHT" (mul $values.disk.uploadGiB 536870912 | toString)) }}
{{- $disk := dict
  "tmp" (list "/tmp" $values.disk.uploadGiB)
  "cache" (list "/var/lib/dspt" $values.disk.cacheGiB) }}
{{- $pod := dict "root" .root "component" .component "image" "api" "keys" $keys "env" $env
  "command" (list "dspt" "api") "serve" (include "dspt.serverPort" .) "disk" $disk
  "group" $values "grace" (add $stop.delaySeconds $stop.timeoutSeconds 15) "restart" "Always" }}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "dspt.metadata" . | nindent 2 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "dspt.labels" . | nindent 6 }}
  template:
    {{- include "dspt.pod" $pod | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "dspt.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "dspt.labels" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .port }}, targetPort: http}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "dspt.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "dspt.labels" . | nindent 6 }}
{{- if and $values.autoscaling.enabled $values.autoscaling.prometheus }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "dspt.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .root.Release.Name }}-{{ .component }}}
  minReplicaCount: {{ $values.autoscaling.minReplicas }}
  maxReplicaCount: {{ $values.autoscaling.maxReplicas }}
  triggers:
    - type: cpu
      metricType: Utilization
      metadata: {value: {{ $values.autoscaling.cpuPercent | quote }}}
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ $values.autoscaling.prometheus | quote }}
        query: sum(dspt_predict_images_waiting{namespace="{{ .root.Release.Namespace }}",pod=~"{{ .root.Release.Name }}-{{ .component }}-.+"})
        threshold: {{ $values.autoscaling.waitingImages | quote }}
{{- else if $values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "dspt.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .root.Release.Name }}-{{ .component }}}
  minReplicas: {{ $values.autoscaling.minReplicas }}
  maxReplicas: {{ $values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $values.autoscaling.cpuPercent }}}
{{- end }}
{{- end }}

{{/* Not alive: a background loop is stuck. Not ready: it cannot do its work, or it is stopping. */}}
{{- define "dspt.serverPort" -}}
ports:
  - {name: http, containerPort: 8000}
startupProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /health/ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 10
  failureThreshold: 2
{{- end }}
