{{- define "qmasq-monitoring.labels" -}}
app.kubernetes.io/name: qmasq
app.kubernetes.io/component: monitoring
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
