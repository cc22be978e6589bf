#!/usr/bin/env bash
# The stages in order, for any recipe; sourced by reproduce.sh. What a recipe has no YAML for is not made but downloaded:
# world.yaml (else 0_data_prep_scoring.yaml names the source), base_model.yaml (else the YAMLs name the model),
# stylometry.yaml (else the YAMLs name the style encoder).

# stage NAME COMMAND…: print it, run it with its output in a log, say how long it took; the last lines of the log if it fails.
stage() {
  local name=$1 started log="$here/logs/$1.log"
  shift
  echo "── $name"
  echo "   $*"
  [ "$dry" = no ] || return 0
  mkdir -p "$here/logs"
  started=$SECONDS
  if ! "$@" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "error: stage $name failed; all of its output: $log" >&2
    exit 1
  fi
  if tail -n 3 "$log" | grep -q "skipped"; then echo "   $name: finished before, skipped"
  else echo "   $name: $((SECONDS - started)) s"; fi
}

# lanes FUNCTION…: side by side on a CPU with two cores or more, each with its share of them; else one after the other.
# Small models gain little from a second thread: two processes of one thread each do more than one of two.
lanes() {
  local lane pids=() failed=no cores
  cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu)
  if [ "$dry" = yes ] || [ "${ACCELERATE:-}" != cpu ] || [ "$cores" -lt 2 ]; then
    for lane in "$@"; do $lane; done
    return
  fi
  for lane in "$@"; do
    # glibc would give a step's memory back to the kernel and fetch it again for the next, a tenth to a fifth of the time.
    (
      export OMP_NUM_THREADS=$((cores / $#)) MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
      $lane
    ) &
    pids+=($!)
  done
  for lane in "${pids[@]}"; do wait "$lane" || failed=yes; done
  [ $failed = no ] || exit 1
}

# run_seed RECIPE SEED FOLDER [dpo]: everything the paper's main figure needs, for one seed; with 'dpo', without ORPO and DORPO.
run_seed() {
  R=$1 s=$2 here=$3 methods=${4:-all}
  base=() source=() style=()
  MODEL=$(basename "$R") && export MODEL
  if [ -f "$R/base_model.yaml" ]; then
    export HF_HUB_OFFLINE=1 ACCELERATE=cpu
    base=(--model_name_or_path "$here/base")
    stage world python -m diversity_tuning.miniature.world --config "$R/world.yaml" --seed "$s" --output "$here/world"
    source=(--source "$here/world/source.jsonl.gz")
  fi
  local data=$here/data stem=scripts_dataset_cleaner tokenizer=()
  stage 0_scoring python -m $stem.0_data_prep_scoring --config "$R/0_data_prep_scoring.yaml" ${source[@]+"${source[@]}"} \
    --data_path "$data/scored"
  if [ -f "$R/base_model.yaml" ]; then
    stage tokenizer python -m diversity_tuning.miniature.tokenizer --config "$R/tokenizer.yaml" --source "$data/scored" \
      --output "$here/tokenizer"
    tokenizer=(--model_to_use "$here/tokenizer")
  fi
  stage 1_filtering python -m $stem.1_data_prep_filtering --config "$R/1_data_prep_filtering.yaml" ${tokenizer[@]+"${tokenizer[@]}"} \
    --source "$data/scored" --data_path "$data/filtered"
  stage 2_pairs python -m $stem.2_data_prep_to_preference --config "$R/2_data_prep_to_preference.yaml" \
    --source "$data/filtered" --data_path_pair "$data/pairs" --data_path_filtered "$data/unpaired"
  if [ -f "$R/stylometry.yaml" ]; then
    stage stylometry python -m diversity_tuning.stylometry fit --config "$R/stylometry.yaml" --source "$data/filtered" \
      --output "$here/stylometry"
    style=(--style_model "builtin:stylometry:$here/stylometry")
  fi
  encoders=(${style[@]+"${style[@]}"} --embedding_cache "$here/embeddings")
  sft=(--adapter "$here/generation")
  lanes weigh_both make_base
  lanes train_dpo train_orpo
  lanes sample_dpo sample_orpo
}

weigh_both() {
  weigh both semantic style
  stage distinct python -m scripts_eval.distinct_threshold --config "$R/distinct_threshold.yaml" --source "$here/data/filtered" \
    --embedding_cache "$here/embeddings" --output "$here/distinct"
}
make_base() {
  [ -f "$R/base_model.yaml" ] || return 0
  stage base_model python -m diversity_tuning.miniature.base_model --config "$R/base_model.yaml" --seed "$s" \
    --source "$here/data/filtered" --tokenizer "$here/tokenizer" --output "$here/base"
}
train_dpo() {
  train generation cm_generation.sh "$here/data/filtered"
  train dpo cm_dpo.sh "$here/data/pairs-both" "${sft[@]}"
  train ddpo-both cm_ddpo.sh "$here/data/pairs-both" "${sft[@]}"
}
train_orpo() {
  train reward cm_reward.sh "$here/data/filtered"
  [ "$methods" = all ] || return 0
  train orpo cm_orpo.sh "$here/data/pairs-both"
  train dorpo-both cm_dorpo.sh "$here/data/pairs-both"
}
sample_dpo() {
  sample sft sft 1 "$here/generation"
  sample dpo dpo 1 "$here/dpo"
  sample ddpo-both ddpo-both 1 "$here/ddpo-both"
}
sample_orpo() {
  stage reward_check python -m scripts_reward_modeling.reward_model_perf_analysis --source "$here/data/filtered" \
    --split "${split:-test}" --reward_model "$here/reward" --output "$here/eval${split:+-$split}-reward"
  gold
  [ "$methods" = all ] || return 0
  sample orpo orpo 1 "$here/orpo"
  sample dorpo-both dorpo-both 1 "$here/dorpo-both"
}

# run_extras RECIPE SEED FOLDER: the front (the checkpoints on the way), one type of deviation alone, DivPO.
run_extras() {
  weigh semantic semantic
  weigh style style
  pair_divpo
  lanes extra_ddpo extra_divpo
}

pair_divpo() {
  stage 4_divpo python -m scripts_dataset_cleaner.4_data_prep_divpo --config "$R/4_data_prep_divpo.yaml" "${encoders[@]}" \
    --source "$here/data/unpaired" --data_path_pair "$here/data/pairs-divpo" --score_process semantic style
}
train_divpo() { train divpo cm_dpo.sh "$here/data/pairs-divpo" "${sft[@]}"; }

extra_ddpo() {
  train ddpo-sem cm_ddpo.sh "$here/data/pairs-semantic" "${sft[@]}"
  train ddpo-sty cm_ddpo.sh "$here/data/pairs-style" "${sft[@]}"
  sample ddpo-sem ddpo-sem 1 "$here/ddpo-sem"
  sample ddpo-sty ddpo-sty 1 "$here/ddpo-sty"
}
extra_divpo() {
  local model checkpoints place strength
  train_divpo
  sample divpo divpo 1 "$here/divpo"
  # Shorter training: the checkpoints on the way, which the recipes set equally far apart; the last one is the model itself.
  for model in dpo ddpo-both orpo dorpo-both; do
    read -ra checkpoints <<<"$(checkpoints_of "$here/$model")"
    for ((place = 1; place < ${#checkpoints[@]}; place++)); do
      strength=$((100 * place / ${#checkpoints[@]}))
      sample "$model-$strength" $model 0.$strength "${checkpoints[place - 1]}"
    done
  done
}

# run_ablation RECIPE SEED FOLDER, after run_seed: DDPO on at most 4, 8 or all responses of a prompt, its weights plain, at least
# 0.1, or plain on the pairs whose chosen has the most votes; DPO on as many, and DivPO, beside them (paper, figure 3).
run_ablation() {
  local most
  suite=-ablation
  for most in 4 8; do
    weigh "both-$most" semantic style --max_cutoff $most
    weigh "minimum-$most" semantic style --max_cutoff $most "${minimum[@]}"
    weigh "sorted-$most" semantic style --max_cutoff $most --sort_with_score
  done
  weigh minimum-all semantic style "${minimum[@]}"
  pair_divpo
  lanes ablate_plain ablate_variants
  compare=(ddpo-both:dpo ddpo-minimum:ddpo-both ddpo-sorted:ddpo-both ddpo-both:divpo)
  report_flags=(--ablation)
  make_report "$root/report-ablation" "$here"
}
minimum=(--min_score_non_zero --min_deviation 0.1)

ablate_plain() {
  local most
  for most in 4 8; do
    train "dpo-$most" cm_dpo.sh "$here/data/pairs-both-$most" "${sft[@]}"
    train "ddpo-both-$most" cm_ddpo.sh "$here/data/pairs-both-$most" "${sft[@]}"
    sample "dpo-$most" dpo $most "$here/dpo-$most"
    sample "ddpo-both-$most" ddpo-both $most "$here/ddpo-both-$most"
  done
  same_samples dpo dpo-all dpo
  same_samples ddpo-both ddpo-both-all ddpo-both
  same_samples ddpo-both ddpo-sorted-all ddpo-sorted  # sorting changes nothing where nothing is cut
}
ablate_variants() {
  local kind most
  for kind in minimum sorted; do
    for most in 4 8; do ablate $kind $most; done
  done
  ablate minimum all
  train_divpo
  sample divpo divpo 1 "$here/divpo"
}
ablate() {
  train "ddpo-$1-$2" cm_ddpo.sh "$here/data/pairs-$1-$2" "${sft[@]}"
  sample "ddpo-$1-$2" "ddpo-$1" "$2" "$here/ddpo-$1-$2"
}

# same_samples POLICY NAME METHOD: the samples that the main run has of POLICY, scored under another name as strength "all".
same_samples() {
  local to="$here/eval-ablation${split:+-$split}/$2"
  if [ "$dry" = no ] && [ ! -d "$to" ]; then
    mkdir -p "$to.new"
    cp "$here/eval${split:+-$split}/$1"/{samples.jsonl,sampling.json} "$to.new"
    mv "$to.new" "$to"
  fi
  sample "$2" "$3" all "$here/$1"
}

# checkpoints_of FOLDER: those of a finished run, in the order of training.
checkpoints_of() {
  if [ "$dry" = yes ]; then echo "$1/checkpoint-1 $1/checkpoint-2 $1/checkpoint-3"; else ls -d "$1"/checkpoint-* | sort -V | tr '\n' ' '; fi
}

# weigh NAME TYPES… [FLAGS…]: stage 3 with these types of deviation.
weigh() {
  local name=$1
  shift
  stage "3_weights_$name" python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training \
    --config "$R/3_data_prep_for_diversified_training.yaml" "${encoders[@]}" --source_pair "$here/data/pairs" \
    --data_path_pair_div "$here/data/pairs-$name" --score_process "$@"
}

# train NAME SCRIPT SOURCE FLAGS…
train() {
  local name=$1 script=$2 from=$3
  shift 3
  stage "train_$name" bash "$script" ${base[@]+"${base[@]}"} --source "$from" "$@" --seed "$s" --output_dir "$here/$name"
}

# sample NAME METHOD STRENGTH ADAPTER: sample and score one policy.
sample() {
  stage "eval_$1" python -m scripts_eval.generation_eval1_1 --config "$R/eval1_1.yaml" "${encoders[@]}" ${split:+--split "$split"} \
    --source "$here/data/filtered" ${base:+--base_model "$here/base"} --adapter "$4" --reward_model "$here/reward" \
    --distinct_threshold "$here/distinct" --seed "$s" --name "$2" --method "$2" --strength "$3" --output "$here/eval${suite:-}${split:+-$split}/$1"
}

# gold: the human responses, measured in the same way.
gold() {
  stage eval_gold python -m scripts_eval.generation_eval2 --config "$R/eval2.yaml" "${encoders[@]}" ${split:+--split "$split"} \
    --source "$here/data/filtered" --reward_model "$here/reward" --seed "$s" --training_seed "$s" \
    --distinct_threshold "$here/distinct" --output "$here/eval${split:+-$split}/gold"
}

# make_report OUTPUT SEED_FOLDER…
compare=(ddpo-both:dpo dorpo-both:orpo) report_flags=()
make_report() {
  local output=$1 folders=()
  shift
  for folder in "$@"; do folders+=("$folder/eval${suite:-}${split:+-$split}"/*/); done
  here=$1
  stage auxiliary python -m scripts_eval.generation_eval1_2 --val_files "${folders[@]}"
  stage report python -m scripts_eval.report --runs "${folders[@]}" --output "$output" \
    --compare "${compare[@]}" ${report_flags[@]+"${report_flags[@]}"}
  [ "$dry" = no ] || return 0
  cat "$output/report.md"
  echo "to read, with figures and samples: $output/report.html"
}
