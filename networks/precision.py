"""Where bfloat16 is worth computing in: where the hardware does, and not where it is emulated."""

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16; of CPUs those that PyTorch tells of (2.11 and later)."""
    if device.type != "cpu":
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
