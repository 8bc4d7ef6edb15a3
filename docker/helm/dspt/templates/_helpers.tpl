{{/* Labels of a component: dict "root" . "component" NAME. */}}
{{- define "dspt.labels" -}}
app.kubernetes.io/name: dspt
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "dspt.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels:
  {{- include "dspt.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* An image of the chart: dict "root" . "image" NAME. */}}
{{- define "dspt.image" -}}
{{- $image := index .root.Values.images .image -}}
{{ $image.repository }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end }}

{{/* As in docker-compose.yml: no root user, no capabilities, a read-only root. */}}
{{- define "dspt.podSecurity" -}}
automountServiceAccountToken: false
# Kubernetes would set DSPT_PORT for a Service named dspt.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "dspt.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Settings that come from the Secret: dict "root" . "keys" LIST. */}}
{{- define "dspt.secretSettings" -}}
{{- range .keys }}
- name: DSPT_{{ . | upper | replace "-" "_" }}_FILE
  value: /etc/dspt/{{ . }}
{{- end }}
{{- end }}

{{- define "dspt.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.secrets.name }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}

{{/*
Pod of the API or of a worker. dict:
  root; component; image; command; keys: of the Secret
  env: its own settings; serve: its ports and probes; disk: volume -> [mount path, GiB]
  group: resources, gpus, nodeSelector, tolerations; grace: seconds; restart: restartPolicy
*/}}
{{- define "dspt.pod" -}}
metadata:
  labels:
    {{- include "dspt.labels" . | nindent 4 }}
spec:
  {{- include "dspt.podSecurity" .root | nindent 2 }}
  serviceAccountName: {{ .root.Release.Name }}
  restartPolicy: {{ .restart }}
  terminationGracePeriodSeconds: {{ .grace }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "dspt.labels" $ | nindent 10 }}
    {{- end }}
  {{- with .group.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .group.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: dspt
      image: {{ include "dspt.image" . }}
      imagePullPolicy: {{ .root.Values.images.pullPolicy }}
      command: {{ toJson .command }}
      {{- include "dspt.containerSecurity" . | nindent 6 }}
      env:
        {{- include "dspt.secretSettings" . | nindent 8 }}
        {{- with .root.Values.secrets.s3 }}
        {{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
        - name: {{ . }}
          valueFrom:
            secretKeyRef: {name: {{ $.root.Values.secrets.s3 }}, key: {{ . }}}
        {{- end }}
        {{- end }}
        {{- range $name, $value := merge .env (dict "DSPT_MIGRATE_AT_START" "false") .root.Values.settings (dict "DSPT_LOG_FORMAT" "json") }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
      {{- .serve | nindent 6 }}
      {{- $resources := default dict .group.resources }}
      {{- if .group.gpus }}
      {{- $resources = mergeOverwrite (deepCopy $resources) (dict "limits" (dict "nvidia.com/gpu" .group.gpus)) }}
      {{- end }}
      {{- with $resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: secrets, mountPath: /etc/dspt, readOnly: true}
        {{- range $name, $disk := .disk }}
        - {name: {{ $name }}, mountPath: {{ first $disk }}}
        {{- end }}
        {{- if .root.Values.weightsClaim }}
        - {name: weights, mountPath: /var/lib/dspt/huggingface}
        {{- end }}
  volumes:
    {{- include "dspt.secretVolume" . | nindent 4 }}
    {{- range $name, $disk := .disk }}
    - name: {{ $name }}
      emptyDir: {sizeLimit: {{ last $disk }}Gi}
    {{- end }}
    {{- with .root.Values.weightsClaim }}
    - name: weights
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
{{- end }}
