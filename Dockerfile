# animevsr for a CPU:
#   docker build -t animevsr --build-arg TORCH_INDEX=<index of PyTorch's CPU wheels> .
#   docker run --rm -v "$PWD":/data animevsr upscale in.mkv -o out.mkv
#   docker run --rm -v "$PWD":/data -p 127.0.0.1:7860:7860 animevsr app --host 0.0.0.0 --password WORD
# Without TORCH_INDEX PyTorch comes with CUDA, and the image is larger by some GB.
FROM python:3.11-slim
ARG TORCH_INDEX=
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
COPY . /src
RUN pip install --no-cache-dir 'setuptools<81' wheel '/src[speed,app]' && animevsr setup && rm -rf /src
ENV ANIMEVSR_CACHE=/data/.animevsr
WORKDIR /data
EXPOSE 7860
ENTRYPOINT ["animevsr"]
