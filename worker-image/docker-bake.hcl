# docker buildx bake                              the worker with its weights
# docker buildx bake no-weights                   without weights: cached models, CI
# docker buildx bake compile                      with weights and a C compiler, for COMPILE=blocks
# CHECKPOINT=juggernaut-xl-v9 docker buildx bake  another checkpoint (mind its licence, which the build prints)
# HF_TOKEN=… docker buildx bake                   with a hub token, which stays out of the image

variable "IMAGE" {
  default = "layerdiffuse-worker"
}

variable "VERSION" {
  default = "0.1.0"
}

# The commit that is built: REVISION=$(git rev-parse HEAD)
variable "REVISION" {
  default = "unknown"
}

variable "CREATED" {
  default = "1970-01-01T00:00:00Z"
}

variable "CHECKPOINT" {
  default = "sdxl-base"
}

group "default" {
  targets = ["runtime"]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
  # PyTorch's wheels are locked for this platform, and GPU hosts are of it.
  platforms = ["linux/amd64"]
  args = {
    VERSION  = VERSION
    REVISION = REVISION
    CREATED  = CREATED
  }
}

target "runtime" {
  inherits = ["_common"]
  target   = "runtime"
  tags     = ["${IMAGE}:latest", "${IMAGE}:${VERSION}-${CHECKPOINT}"]
  args = {
    CHECKPOINT = CHECKPOINT
  }
  secret = ["type=env,id=hf_token,env=HF_TOKEN"]
}

target "compile" {
  inherits = ["runtime"]
  tags     = ["${IMAGE}:${VERSION}-${CHECKPOINT}-compile"]
  args = {
    BASE = "compiler"
  }
}

target "no-weights" {
  inherits = ["_common"]
  target   = "no-weights"
  tags     = ["${IMAGE}:${VERSION}-no-weights"]
}
