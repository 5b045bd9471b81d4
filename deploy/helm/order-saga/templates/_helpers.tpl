{{- define "order-saga.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The labels of one service; the argument is a dict with `root` and `name`. */}}
{{- define "order-saga.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: order-saga
{{- end }}

{{- define "order-saga.labels" -}}
{{ include "order-saga.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "order-saga.url" -}}
http://{{ .root.Release.Name }}-{{ .name }}:{{ (index .root.Values.services .name).port }}
{{- end }}

{{- define "order-saga.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "order-saga.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "order-saga.kafka" -}}
- { name: KAFKA_BOOTSTRAP_SERVERS, value: {{ required "kafka.bootstrapServers is needed" .Values.kafka.bootstrapServers | quote }} }
- { name: TOPIC_PARTITIONS, value: {{ .Values.kafka.topicPartitions | quote }} }
{{- with .Values.kafka.topicPrefix }}
- { name: TOPIC_PREFIX, value: {{ . | quote }} }
{{- end }}
{{- end }}

{{- define "order-saga.scaledByLag" -}}
{{- if and .root.Values.autoscaling.enabled .root.Values.autoscaling.keda (eq .service.scale.by "lag") }}yes{{ end }}
{{- end }}

{{- define "order-saga.scaledByCpu" -}}
{{- if and .root.Values.autoscaling.enabled (eq .service.scale.by "cpu") }}yes{{ end }}
{{- end }}
