"""A model of MLServer's that answers with what it was asked."""

from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Echo(MLModel):
    async def predict(self, payload):
        outputs = [ResponseOutput(name=one.name, shape=one.shape, datatype=one.datatype, data=one.data) for one in payload.inputs]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)
