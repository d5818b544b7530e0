#!/usr/bin/env bash
# The workflow on a Slurm of one node, on this machine: a training that is cancelled and one that loses its node go on
# from their saved states, and end with the weights of a run that nothing disturbed. Debian, as root, five minutes:
#   sudo tests/slurm.sh
# Needs the environment of `make setup` with snakemake-executor-plugin-slurm, and no Slurm of your own: it writes
# /etc/slurm/slurm.conf and gres.conf, starts munged, slurmctld and slurmd, and takes all of them away at the end.
set -euo pipefail
set -m # what runs in the background gets a process group of its own, which can be killed as a whole

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=$repository/.venv/bin:$PATH
mark="# Written by tests/slurm.sh of lkca, which removes it."
node=$(hostname -s)
folder='' alone='' workflow='' munged='' passed=''

fail() {
    echo "slurm.sh: $*" >&2
    exit 1
}

step() {
    echo "slurm.sh [${SECONDS} s]: $*"
}

# Whatever happened: end what was started here, by its process id, and remove what was written outside the folder.
clean_up() {
    local process name file
    set +e
    for process in $alone $workflow; do
        kill -KILL -- "-$process" 2>/dev/null # with all that it has started
    done
    if [ -s "$folder/slurmctld.pid" ]; then
        scancel --user root
        for _ in {1..10}; do
            [ -n "$(squeue --noheader)" ] || break
            sleep 1
        done
    fi
    for name in slurmd slurmctld ${munged:+munged}; do
        [ ! -s "$folder/$name.pid" ] || kill "$(<"$folder/$name.pid")" 2>/dev/null
    done
    for file in /etc/slurm/slurm.conf /etc/slurm/gres.conf; do
        [ "$(head -n 1 "$file" 2>/dev/null)" != "$mark" ] || rm "$file"
    done
    if [ -n "$passed" ]; then
        rm -rf "$folder"
    elif [ -n "$folder" ]; then
        echo "slurm.sh: what it left is in $folder" >&2
    fi
}

# await SECONDS WHAT COMMAND...: until the command succeeds, as long as the workflow runs.
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ -z "$workflow" ] || kill -0 "$workflow" 2>/dev/null || fail "the workflow ended before $what"
        [ "$SECONDS" -lt "$end" ] || fail "waited in vain until $what"
        sleep 1
    done
}

# --- what it needs ----------------------------------------------------------------------------------------------------
[ "$(id -u)" -eq 0 ] || fail "starts daemons and writes /etc/slurm, so it has to be called by root: sudo tests/slurm.sh"
for file in /etc/slurm/slurm.conf /etc/slurm/gres.conf; do
    [ ! -e "$file" ] || [ "$(head -n 1 "$file")" = "$mark" ] ||
        fail "$file is there already and not from here: this machine has a Slurm, which is left alone"
done
python -c "import lkca, snakemake_executor_plugin_slurm" 2>/dev/null ||
    fail "give first: make setup, then .venv/bin/pip install snakemake-executor-plugin-slurm"
if ! command -v slurmctld slurmd munged >/dev/null; then
    step "installs slurm-wlm and munge by apt"
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends slurm-wlm munge >/dev/null
fi
trap clean_up EXIT
trap 'exit 130' INT TERM
folder=$(mktemp --directory --tmpdir lkca-slurm.XXXXXX)
export XDG_CACHE_HOME=$folder/cache

# --- a cluster of one node --------------------------------------------------------------------------------------------
step "starts munged, slurmctld and slurmd on the loopback address"
if ! munge --no-input 2>/dev/null | unmunge >/dev/null 2>&1; then
    install --directory --owner munge --group munge --mode 755 /run/munge
    munged=yes
    munged --force --pid-file "$folder/munged.pid" 2>/dev/null
fi
# More memory than there may be is believed (config_overrides), and so are two devices: the profile is tried as it is.
cat >/etc/slurm/slurm.conf <<END
$mark
ClusterName=lkca
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
StateSaveLocation=$folder/slurmctld
SlurmdSpoolDir=$folder/slurmd
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=3600
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=256000 Gres=gpu:2
PartitionName=main Nodes=$node Default=YES
END
cat >/etc/slurm/gres.conf <<END
$mark
Name=gpu File=$folder/gpu[0-1]
END
mkdir "$folder/slurmctld" "$folder/slurmd"
touch "$folder/gpu0" "$folder/gpu1"
start_node() {
    slurmd
    await 30 "the node is up" sh -c 'sinfo --noheader --format %t | grep --quiet --extended-regexp "^(idle|mix|alloc)$"'
}
slurmctld
start_node

step "gives a job memory and a GPU"
srun --mem 8000 --gpus 1 --time 1 true || fail "Slurm runs no job: see $folder/slurmctld.log"

# --- the workflow, undisturbed and on Slurm ---------------------------------------------------------------------------
# Patches enough that the last epoch is the best: weights of an early one would be equal whatever came later.
cat >"$folder/overlay.yaml" <<'END'
experiment: slurm
report: {tables: [T], figures: []}
patches: {x4: {stride: 16}}
models:
  lkca: {train: {epochs: 12, batch: 8, learning_rate: 1.0e-4, cosine_to: 1.0e-5, sam: 0.0, grad: 0.0}}
tables:
  T:
    title: Two trainings that are interrupted
    header: Method
    scene: chikusei
    scales: [4]
    rows: {Bicubic: bicubic, LKCA-Net: lkca, LKCA-LR: lkca_lr}
END
for copy in alone cluster; do
    mkdir --parents "$folder/$copy/tests"
    cp --recursive "$repository"/{lkca,workflow,profiles,Snakefile,config.yaml,environment.yml} "$folder/$copy"
    cp "$repository/tests/tiny.yaml" "$folder/$copy/tests"
    # a state each second: these trainings take seconds
    sed --in-place 's/^CHECKPOINT_SECONDS = [0-9.]*/CHECKPOINT_SECONDS = 1/' "$folder/$copy/lkca/training/resume.py"
    grep --quiet '^CHECKPOINT_SECONDS = 1 ' "$folder/$copy/lkca/training/resume.py" ||
        fail "lkca/training/resume.py does not say any more how often it saves"
done
what=(--configfile config.yaml tests/tiny.yaml "$folder/overlay.yaml" -- table_T)

step "runs the workflow twice: here, on one core, which nothing disturbs, and on Slurm"
cd "$folder/alone"
snakemake --cores 1 "${what[@]}" >"$folder/alone.log" 2>&1 &
alone=$!
cd "$folder/cluster"
# Three options that a cluster of one's own does not need: it has an accounting database, and nobody waits for it.
snakemake --workflow-profile profiles/slurm --slurm-status-command squeue --slurm-no-account \
    --slurm-init-seconds-before-status-checks 2 "${what[@]}" >"$folder/cluster.log" 2>&1 &
workflow=$!
runs=results/slurm/runs/chikusei_x4

job_of() { # the number of the running Slurm job that trains this model
    squeue --noheader --states RUNNING --format '%i %k' |
        awk -v run="_$1_[0-9]+\$" '/rule_train/ && $2 ~ run {print $1}'
}
saved() { # whether this model is being trained and has saved its state
    [ -n "$(job_of "$1")" ] && compgen -G "$runs/$1/seed*/state-*.safetensors" >/dev/null
}
went_on() {
    grep --quiet "resumes from epoch" "$runs/$1"/seed*/train.log 2>/dev/null
}

one_saved() { # whether one of the two has; whichever Slurm starts first
    for first in lkca lkca_lr; do
        ! saved "$first" || return 0
    done
    return 1
}

await 240 "a training has saved a state" one_saved
step "cancels the training of $first: scancel"
scancel "$(job_of "$first")"

other=$([ "$first" = lkca ] && echo lkca_lr || echo lkca)
await 180 "the training of $other has saved a state" saved "$other"
step "kills the node with all that runs on it, and starts it again"
mapfile -t tasks < <(scontrol listpids | awk 'NR > 1 && $1 > 0 {print $1}')
mapfile -t daemons < <(pidof slurmstepd | tr ' ' '\n')
kill -KILL "$(<"$folder/slurmd.pid")" "${daemons[@]}" "${tasks[@]}" 2>/dev/null # some end with the others
scontrol update nodename="$node" state=down reason="lost its power"
sleep 2
scontrol update nodename="$node" state=resume
start_node

step "gives a minute to a job that wants more, and waits for the end"
limited=$(sbatch --parsable --mem 1000 --time 1 --output /dev/null --wrap "sleep 600")
wait "$workflow" || fail "the workflow failed on Slurm: see $folder/cluster.log"
workflow=''
wait "$alone" || fail "the undisturbed workflow failed: see $folder/alone.log"
alone=''

# --- what came out ----------------------------------------------------------------------------------------------------
same_weights() { # bit by bit; the files' headers may differ
    python - "$@" <<'END'
import sys
from safetensors.numpy import load_file

one, other = map(load_file, sys.argv[1:])
sys.exit(one.keys() != other.keys() or any(one[name].tobytes() != other[name].tobytes() for name in one))
END
}
[ -s results/slurm/tables/T.csv ] || fail "there is no table"
for model in lkca lkca_lr; do
    went_on "$model" || fail "$model was trained from the start again"
    for file in "$runs/$model"/seed*; do
        same_weights "$file/weights.safetensors" "$folder/alone/$file/weights.safetensors" ||
            fail "$model has other weights than without the interruptions"
        # all but the last column, the seconds that the training took
        cmp --quiet <(sed 's/,[^,]*$//' "$file/history.csv") <(sed 's/,[^,]*$//' "$folder/alone/$file/history.csv") ||
            fail "$model has another history than without the interruptions"
    done
done
grep --quiet "CANCELLED" "$folder/cluster.log" || fail "no job was cancelled: see $folder/cluster.log"
grep --quiet "NODE_FAIL" "$folder/cluster.log" || fail "no job lost its node: see $folder/cluster.log"
limit_ended() {
    scontrol show job "$limited" | grep --quiet JobState=TIMEOUT
}
await 150 "a job that outlived its time limit was ended" limit_ended # which Slurm looks for every half minute
passed=yes
echo "OK: after scancel and the loss of the node both trainings went on, to the weights of the undisturbed run."
