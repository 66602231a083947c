#!/usr/bin/env bash
# Encode and decode the three test images in both modes, then show the results beside JPEG.
#   bash test_all.sh
# Makes .venv and installs requirements.txt there if the packages are missing.
set -euo pipefail
cd "$(dirname "$0")"
. ./environment.sh requirements.txt

images="peppers lena baboon"
names=() ; seconds=()

now() { python3 -c "import time; print(time.time())"; }
since() { python3 -c "import time; print(f'{time.time() - $1:.2f}')"; }

# The results of B=10 go to the folder B=8, where they have always been written.
for mode in soft hard; do
    if [ $mode = soft ]; then B=10 results=8; else B=2 results=2; fi
    for image in $images; do
        began=$(now)
        python3 encode.py --input_path=resources/test_images/$image.png \
            --output_path=resources/encoded/B=$B/$image.encoded \
            --encoder_path=models/model_B=$B/encoder.model --quantize_mode=$mode
        python3 decode.py --output_path=resources/results/B=$results/${image}_reconstructed.png \
            --input_path=resources/encoded/B=$B/$image.encoded \
            --decoder_path=models/model_B=$B/decoder.model --quantize_mode=$mode
        seconds+=("$(since "$began")")
        names+=(resources/test_images/$image.png resources/encoded/B=$B/$image.encoded
                resources/results/B=$results/${image}_reconstructed.png)
    done
done

echo
python3 compare.py "${names[@]}" --seconds "${seconds[@]}" --csv resources/results/table.csv
echo "PSNR in dB; JPEG with the same bytes, the better of 4:2:0 and 4:4:4; seconds of both scripts with start-up"
