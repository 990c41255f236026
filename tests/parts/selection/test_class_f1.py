import torch
from sklearn.metrics import f1_score
from torch import nn

from study.data.split import Split
from study.parts.selection.class_f1 import class_f1


def test_it_is_sklearns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 3, generator=generator), torch.randint(3, (40,), generator=generator)
    expected = f1_score(labels.numpy(), logits.argmax(1).numpy(), average=None)
    ours = [class_f1(nn.Identity(), Split("repair", logits, labels), label) for label in range(3)]
    torch.testing.assert_close(torch.stack(ours).double(), torch.from_numpy(expected), atol=1e-6, rtol=0)
