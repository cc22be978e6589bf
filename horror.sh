#!/usr/bin/env bash
# The stages of `bash reproduce.sh --recipe horror`, in order; sourced by reproduce.sh after stages.sh (stage, lanes, train).

# run_horror RECIPE SEED FOLDER
run_horror() {
  R=$1 s=$2 here=$3
  base=(--model_name_or_path "$here/base") sft=(--adapter "$here/generation")
  MODEL=$(basename "$R") && export MODEL HF_HUB_OFFLINE=1 ACCELERATE=cpu
  stage specifications python -m diversity_tuning.horror.specifications --config "$R/specifications.yaml" --seed "$s" \
    --output "$here/data"
  stage tokenizer python -m diversity_tuning.miniature.tokenizer --config "$R/tokenizer.yaml" --source "$here/data/pretraining" \
    --output "$here/tokenizer"
  lanes horror_base horror_weigh
  lanes horror_sft horror_sample_base
  lanes horror_easy horror_hard
}

horror_base() {
  stage base_model python -m diversity_tuning.horror.base_model --config "$R/base_model.yaml" --seed "$s" \
    --source "$here/data/pretraining" --tokenizer "$here/tokenizer" --output "$here/base"
}
horror_weigh() {
  stage boundaries python -m diversity_tuning.horror.boundaries --data "$here/data" --tokenizer "$here/tokenizer" \
    --output "$here/boundaries.json"
  local level
  for level in easy hard; do
    stage "weights_$level" python -m scripts_dataset_cleaner.3_data_prep_for_diversified_training \
      --config "$R/3_data_prep_for_diversified_training.yaml" --embedding_cache "$here/embeddings" \
      --source_pair "$here/data/$level" --data_path_pair_div "$here/pairs-$level"
  done
}
horror_sft() { train generation cm_generation.sh "$here/data/sft"; }
horror_sample_base() { horror_sample base; }
horror_easy() {
  horror_train easy
  horror_sample sft "$here/generation"
  horror_measure easy base sft dpo-easy ddpo-easy
}
horror_hard() {
  horror_train hard
  horror_measure hard dpo-hard ddpo-hard
}

# horror_train LEVEL: DPO and DDPO on its pairs, sampled.
horror_train() {
  train "dpo-$1" cm_dpo.sh "$here/pairs-$1" "${sft[@]}"
  train "ddpo-$1" cm_ddpo.sh "$here/pairs-$1" "${sft[@]}"
  horror_sample "dpo-$1" "$here/dpo-$1"
  horror_sample "ddpo-$1" "$here/ddpo-$1"
}

# horror_sample NAME [ADAPTER]: sample a policy and check the constraints of its stories.
horror_sample() {
  local folder="$here/samples${split:+-$split}/$1"
  stage "sample_$1" python -m scripts_eval.sample --config "$R/sample.yaml" ${split:+--split "$split"} --source "$here/data/sft" \
    --base_model "$here/base" ${2:+--adapter "$2"} --seed "$s" --output "$folder"
  stage "constraints_$1" python -m scripts_eval.constraint_eval --source "$folder/samples.jsonl" \
    --output "$here/constraints${split:+-$split}/$1"
}

# horror_measure LANE NAME…: diversity of samples, and accuracy on held-out pairs of both levels.
horror_measure() {
  local lane=$1 folders=() policies=() name
  shift
  for name in "$@"; do
    folders+=("$here/samples${split:+-$split}/$name")
    case $name in
      base) policies+=(--policy base=) ;;
      sft) policies+=(--policy "sft=$here/generation") ;;
      *) policies+=(--policy "$name=$here/$name") ;;
    esac
  done
  stage "diversity_$lane" python -m diversity_tuning.horror.diversity --samples "${folders[@]}" \
    --output "$here/diversity${split:+-$split}/$lane.json"
  stage "accuracy_$lane" python -m diversity_tuning.horror.preference_accuracy --base_model "$here/base" \
    --reference "$here/generation" "${policies[@]}" --pairs "easy=$here/data/easy" --pairs "hard=$here/data/hard" \
    ${split:+--split "$split"} --output "$here/accuracy${split:+-$split}/$lane.json"
}

# report_horror OUTPUT SEED_FOLDER…
report_horror() {
  local output=$1
  shift
  here=$1
  stage report python -m diversity_tuning.horror.report --seeds "$@" ${split:+--split "$split"} --output "$output"
  [ "$dry" = no ] || return 0
  cat "$output/report.md"
  echo "to read, with figures: $output/report.html"
}
