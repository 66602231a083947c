#!/usr/bin/env bash
# Encode and decode the three test images in all modes, then show the results beside JPEG.
#   bash test_all.sh
# Makes .venv and installs requirements.txt there if the packages are missing.
set -euo pipefail
cd "$(dirname "$0")"
. ./environment.sh requirements.txt

images="peppers lena baboon"
names=() ; seconds=()

now() { python3 -c "import time; print(time.time())"; }
since() { python3 -c "import time; print(f'{time.time() - $1:.2f}')"; }

# run MODEL ENCODED_FOLDER RESULT_FOLDER MODE [OPTION]: the three images, with options for encode.py
run() {
    for image in $images; do
        began=$(now)
        python3 encode.py --input_path=resources/test_images/$image.png \
            --output_path=resources/encoded/$2/$image.encoded \
            --encoder_path=models/$1/encoder.model --quantize_mode=$4 ${5:-}
        python3 decode.py --output_path=resources/results/$3/${image}_reconstructed.png \
            --input_path=resources/encoded/$2/$image.encoded \
            --decoder_path=models/$1/decoder.model --quantize_mode=$4
        seconds+=("$(since "$began")")
        names+=(resources/test_images/$image.png resources/encoded/$2/$image.encoded
                resources/results/$3/${image}_reconstructed.png)
    done
}

run model_variable variable_q2 variable_q2 variable --quality=2
run model_variable variable_q5 variable_q5 variable --quality=5
run model_B=10 B=10 B=8 soft  # in the folder B=8, where the results of B=10 have always been written
run model_B=2 B=2 B=2 hard

echo
python3 -m evaluation.compare "${names[@]}" --seconds "${seconds[@]}" --csv resources/results/table.csv
echo "PSNR in dB; JPEG with the same bytes, the better of 4:2:0 and 4:4:4; seconds of both scripts with start-up"
