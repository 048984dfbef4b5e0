#!/bin/sh
# Published perplexities of public checkpoints, measured anew: each with its kind (bound or exact) and error.
#
#     benchmarks/public_checkpoints.sh [OUT] [DEVICE]
#
# Needs the network (4 GB of weights, and OpenWebText unless TEXT names files) and, to be quick, a GPU.
# TEXT: documents to score, as `isodiff corpus prepare` takes them; WINDOWS: how many windows of 1024 tokens.
# Published numbers are of the last 100,000 documents of OpenWebText: give those as TEXT to compare closely.
# MDLM and Duo were trained on windows framed by <|endoftext|>, which windows here are not.
set -eu
out=${1:-runs/public}
device=${2:-cpu}
text=${TEXT:-hf:Skylion007/openwebtext}
windows=${WINDOWS:-2048}

# NAME REPOSITORY LAYOUT PUBLISHED VOCABULARY: import, prepare the text with its tokenizer, score.
measure() {
    [ -d "$out/$1" ] || isodiff import "hf:$2" --layout "$3" --tokenizer gpt2 --out "$out/$1"
    [ -d "$out/text-$5" ] || isodiff corpus prepare "$text" --tokenizer "$out/$1/corpus" \
        --validation 0.5 --test 0.25 --out "$out/text-$5"
    echo "$1: published perplexity $4"
    isodiff evaluate split "$out/$1" --corpus "$out/text-$5" --split validation \
        --windows "$windows" --device "$device"
}

measure mdlm-owt kuleshov-group/mdlm-owt mdlm 23.2 50257
measure bd3lm-owt-4 kuleshov-group/bd3lm-owt-block_size4 bd3lm 20.7 50257
measure bd3lm-owt-8 kuleshov-group/bd3lm-owt-block_size8 bd3lm 21.7 50257
measure bd3lm-owt-16 kuleshov-group/bd3lm-owt-block_size16 bd3lm 22.3 50257
measure duo-owt s-sahoo/duo duo 25.2 50258
