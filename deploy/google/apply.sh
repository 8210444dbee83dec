#!/bin/sh
# Gives Google Cloud what lies beside this: docs/guide/clouds.md. Run again, it changes what it made before.
#
#   apply.sh monitoring   channels, alert policies and the dashboard
#   apply.sh trails       who changed and read what: audit logs, a locked bucket that keeps them, alerts on changes
#
# Needs gcloud and python3, and these in the environment:
#   PROJECT          where S4 runs
#   PAGE_EMAIL, TICKET_EMAIL
#   API_SERVICE, WORKER_SERVICE   a service and a worker pool of Cloud Run; default: s4-api, s4-worker
#   DATABASE         of Cloud SQL, as project:instance; default: $PROJECT:s4
#   BUCKET           S4's, without gs://
#   KEEP_DAYS        of the trails; default: 400. What is in the bucket of logs nobody can delete before
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${PROJECT:?}" "${PAGE_EMAIL:?}" "${TICKET_EMAIL:?}" "${BUCKET:?}"
export PAGE_EMAIL TICKET_EMAIL BUCKET
export API_SERVICE="${API_SERVICE:-s4-api}"
export WORKER_SERVICE="${WORKER_SERVICE:-s4-worker}"
export DATABASE="${DATABASE:-$PROJECT:s4}"
KEEP_DAYS=${KEEP_DAYS:-400}

filled=$(mktemp -d)
trap 'rm -rf "$filled"' EXIT
python3 "$here/files.py" fill "$filled"

# channel SEVERITY: the name of its channel, which it makes if there is none.
channel() {
  name=$(gcloud beta monitoring channels list --project="$PROJECT" \
    --filter="userLabels.s4_channel=\"$1\"" --format='value(name)' --limit=1)
  if [ -z "$name" ]; then
    name=$(gcloud beta monitoring channels create --project="$PROJECT" \
      --channel-content-from-file="$filled/monitoring/channels/$1.json" --format='value(name)')
  fi
  echo "$name"
}

# policies FOLDER: those of each severity, which tell its channel.
policies() {
  gcloud alpha monitoring policies list --project="$PROJECT" --filter='userLabels.s4_alert:*' \
    --format='value(userLabels.s4_alert,name)' >"$filled/known"
  for severity in page ticket; do
    [ -d "$1/$severity" ] || continue
    told=$(channel "$severity")
    for file in "$1/$severity"/*.json; do
      name=$(awk -v alert="$(basename "$file" .json)" '$1 == alert {print $2; exit}' "$filled/known")
      if [ -z "$name" ]; then
        gcloud alpha monitoring policies create --project="$PROJECT" \
          --policy-from-file="$file" --notification-channels="$told"
      else
        gcloud alpha monitoring policies update "$name" --project="$PROJECT" \
          --policy-from-file="$file" --set-notification-channels="$told"
      fi
    done
  done
}

monitoring() {
  policies "$filled/monitoring/policies"
  name=$(gcloud monitoring dashboards list --project="$PROJECT" --filter='displayName="S4"' --format='value(name)' \
    --limit=1)
  file=$filled/monitoring/dashboard.json
  if [ -z "$name" ]; then
    gcloud monitoring dashboards create --project="$PROJECT" --config-from-file="$file"
  else
    etag=$(gcloud monitoring dashboards describe "$name" --project="$PROJECT" --format='value(etag)')
    python3 "$here/files.py" etag "$file" "$etag"
    gcloud monitoring dashboards update "$name" --project="$PROJECT" --config-from-file="$file"
  fi
}

trails() {
  # The policy comes with an etag: whoever changed it meanwhile makes the setting fail, and nothing of his is lost.
  gcloud projects get-iam-policy "$PROJECT" --format=json >"$filled/policy.json"
  python3 "$here/files.py" audit "$filled/policy.json" "$filled/audit/audit-configs.json"
  gcloud projects set-iam-policy "$PROJECT" "$filled/policy.json"

  locked=$(gcloud logging buckets list --project="$PROJECT" --location=global \
    --filter='name:s4-trails' --format='value(name,locked)')
  if [ -z "$locked" ]; then
    gcloud logging buckets create s4-trails --project="$PROJECT" --location=global --retention-days="$KEEP_DAYS" \
      --description='Who changed and read what of S4'
  fi
  sink=$(gcloud logging sinks list --project="$PROJECT" --filter='name="s4-trails"' --format='value(name)')
  verb=update
  [ -n "$sink" ] || verb=create
  gcloud logging sinks "$verb" s4-trails \
    "logging.googleapis.com/projects/$PROJECT/locations/global/buckets/s4-trails" --project="$PROJECT" \
    --log-filter='log_id("cloudaudit.googleapis.com/activity") OR log_id("cloudaudit.googleapis.com/data_access") OR log_id("cloudaudit.googleapis.com/policy")'
  policies "$filled/audit/policies"
  # Last, for it cannot be undone: neither the bucket nor its days.
  case "$locked" in
    *True) ;;
    *) gcloud logging buckets update s4-trails --project="$PROJECT" --location=global --locked --quiet ;;
  esac
}

case "${1:-}" in
  monitoring) monitoring ;;
  trails) trails ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
