/** The services that are spoken here, in proto3. Field numbers are those of KServe's, MLServer's and Triton's files where these agree. */
import { type FileSchema, parseProto } from "./schema.js";

const TENSORS = `
message InferParameter { oneof parameter_choice {
  bool bool_param = 1; int64 int64_param = 2; string string_param = 3; double double_param = 4; uint64 uint64_param = 5; } }
message InferTensorContents {
  repeated bool bool_contents = 1; repeated int32 int_contents = 2; repeated int64 int64_contents = 3;
  repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6;
  repeated double fp64_contents = 7; repeated bytes bytes_contents = 8; }
message InferInputTensor { string name = 1; string datatype = 2; repeated int64 shape = 3;
  map<string, InferParameter> parameters = 4; InferTensorContents contents = 5; }
message InferRequestedOutputTensor { string name = 1; map<string, InferParameter> parameters = 2; }
message InferOutputTensor { string name = 1; string datatype = 2; repeated int64 shape = 3;
  map<string, InferParameter> parameters = 4; InferTensorContents contents = 5; }
message ModelInferRequest { string model_name = 1; string model_version = 2; string id = 3;
  map<string, InferParameter> parameters = 4; repeated InferInputTensor inputs = 5;
  repeated InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7; }
message ModelInferResponse { string model_name = 1; string model_version = 2; string id = 3;
  map<string, InferParameter> parameters = 4; repeated InferOutputTensor outputs = 5; repeated bytes raw_output_contents = 6; }
message ModelStreamInferResponse { string error_message = 1; ModelInferResponse infer_response = 2; }
`;

/** `RepositoryModelLoadRequest` has the model's name in field 1 in KServe's file: both are read. */
const REPOSITORY = `
message RepositoryIndexRequest { string repository_name = 1; bool ready = 2; }
message ModelIndex { string name = 1; string version = 2; string state = 3; string reason = 4; }
message RepositoryIndexResponse { repeated ModelIndex models = 1; }
message ModelRepositoryParameter { oneof parameter_choice {
  bool bool_param = 1; int64 int64_param = 2; string string_param = 3; bytes bytes_param = 4; } }
message RepositoryModelLoadRequest { string repository_name = 1; string model_name = 2;
  map<string, ModelRepositoryParameter> parameters = 3; }
message RepositoryModelLoadResponse { string model_name = 1; bool isLoaded = 2; }
message RepositoryModelUnloadRequest { string repository_name = 1; string model_name = 2;
  map<string, ModelRepositoryParameter> parameters = 3; }
message RepositoryModelUnloadResponse { string model_name = 1; bool isUnloaded = 2; }
`;

const REPOSITORY_METHODS = `
  rpc RepositoryIndex(RepositoryIndexRequest) returns (RepositoryIndexResponse);
  rpc RepositoryModelLoad(RepositoryModelLoadRequest) returns (RepositoryModelLoadResponse);
  rpc RepositoryModelUnload(RepositoryModelUnloadRequest) returns (RepositoryModelUnloadResponse);
`;

const CONFIG = `
enum DataType { TYPE_INVALID = 0; TYPE_BOOL = 1; TYPE_UINT8 = 2; TYPE_UINT16 = 3; TYPE_UINT32 = 4; TYPE_UINT64 = 5;
  TYPE_INT8 = 6; TYPE_INT16 = 7; TYPE_INT32 = 8; TYPE_INT64 = 9; TYPE_FP16 = 10; TYPE_FP32 = 11; TYPE_FP64 = 12;
  TYPE_STRING = 13; TYPE_BF16 = 14; }
message ModelInput { string name = 1; DataType data_type = 2; repeated int64 dims = 4; bool optional = 8; }
message ModelOutput { string name = 1; DataType data_type = 2; repeated int64 dims = 3; string label_filename = 5; }
message LatestVersions { uint32 num_versions = 1; }
message AllVersions { }
message SpecificVersions { repeated int64 versions = 1; }
message ModelVersionPolicy { oneof policy_choice { LatestVersions latest = 1; AllVersions all = 2; SpecificVersions specific = 3; } }
message ModelDynamicBatching { repeated int32 preferred_batch_size = 1; uint64 max_queue_delay_microseconds = 2; }
message ModelParameter { string string_value = 1; }
message ModelConfig { string name = 1; string platform = 2; ModelVersionPolicy version_policy = 3; int32 max_batch_size = 4;
  repeated ModelInput input = 5; repeated ModelOutput output = 6; string default_model_filename = 8;
  ModelDynamicBatching dynamic_batching = 11; map<string, ModelParameter> parameters = 14; string backend = 17; }
message ModelConfigRequest { string name = 1; string version = 2; }
message ModelConfigResponse { ModelConfig config = 1; }
`;

const STATISTICS = `
message ModelStatisticsRequest { string name = 1; string version = 2; }
message StatisticDuration { uint64 count = 1; uint64 ns = 2; }
message InferStatistics { StatisticDuration success = 1; StatisticDuration fail = 2; StatisticDuration queue = 3;
  StatisticDuration compute_input = 4; StatisticDuration compute_infer = 5; StatisticDuration compute_output = 6;
  StatisticDuration cache_hit = 7; StatisticDuration cache_miss = 8; }
message InferBatchStatistics { uint64 batch_size = 1; StatisticDuration compute_input = 2; StatisticDuration compute_infer = 3;
  StatisticDuration compute_output = 4; }
message ModelStatistics { string name = 1; string version = 2; uint64 last_inference = 3; uint64 inference_count = 4;
  uint64 execution_count = 5; InferStatistics inference_stats = 6; repeated InferBatchStatistics batch_stats = 7; }
message ModelStatisticsResponse { repeated ModelStatistics model_stats = 1; }
`;

const SETTINGS = `
message TraceValue { repeated string value = 1; }
message TraceSettingRequest { map<string, TraceValue> settings = 1; string model_name = 2; }
message TraceSettingResponse { map<string, TraceValue> settings = 1; }
message LogValue { oneof parameter_choice { bool bool_param = 1; uint32 uint32_param = 2; string string_param = 3; } }
message LogSettingsRequest { map<string, LogValue> settings = 1; }
message LogSettingsResponse { map<string, LogValue> settings = 1; }
`;

const sharedMemory = (kind: string): string => `
message ${kind}SharedMemoryStatusRequest { string name = 1; }
message ${kind}RegionStatus { string name = 1; }
message ${kind}SharedMemoryStatusResponse { map<string, ${kind}RegionStatus> regions = 1; }
message ${kind}SharedMemoryRegisterRequest { string name = 1; }
message ${kind}SharedMemoryRegisterResponse { }
message ${kind}SharedMemoryUnregisterRequest { string name = 1; }
message ${kind}SharedMemoryUnregisterResponse { }
`;

const sharedMemoryMethods = (kind: string): string =>
  ["Status", "Register", "Unregister"]
    .map((action) => `${kind}SharedMemory${action}`)
    .map((name) => `rpc ${name}(${name}Request) returns (${name}Response);`)
    .join("\n");

const INFERENCE = `package inference;
message ServerLiveRequest { } message ServerLiveResponse { bool live = 1; }
message ServerReadyRequest { } message ServerReadyResponse { bool ready = 1; }
message ModelReadyRequest { string name = 1; string version = 2; } message ModelReadyResponse { bool ready = 1; }
message ServerMetadataRequest { }
message ServerMetadataResponse { string name = 1; string version = 2; repeated string extensions = 3; }
message ModelMetadataRequest { string name = 1; string version = 2; }
message TensorMetadata { string name = 1; string datatype = 2; repeated int64 shape = 3; }
message ModelMetadataResponse { string name = 1; repeated string versions = 2; string platform = 3;
  repeated TensorMetadata inputs = 4; repeated TensorMetadata outputs = 5; }
${TENSORS}${REPOSITORY}${CONFIG}${STATISTICS}${SETTINGS}${sharedMemory("System")}${sharedMemory("Cuda")}
service GRPCInferenceService {
  rpc ServerLive(ServerLiveRequest) returns (ServerLiveResponse);
  rpc ServerReady(ServerReadyRequest) returns (ServerReadyResponse);
  rpc ModelReady(ModelReadyRequest) returns (ModelReadyResponse);
  rpc ServerMetadata(ServerMetadataRequest) returns (ServerMetadataResponse);
  rpc ModelMetadata(ModelMetadataRequest) returns (ModelMetadataResponse);
  rpc ModelInfer(ModelInferRequest) returns (ModelInferResponse);
  rpc ModelStreamInfer(stream ModelInferRequest) returns (stream ModelStreamInferResponse);
  rpc ModelConfig(ModelConfigRequest) returns (ModelConfigResponse);
  rpc ModelStatistics(ModelStatisticsRequest) returns (ModelStatisticsResponse);
  ${REPOSITORY_METHODS}
  rpc TraceSetting(TraceSettingRequest) returns (TraceSettingResponse);
  rpc LogSettings(LogSettingsRequest) returns (LogSettingsResponse);
  ${sharedMemoryMethods("System")} ${sharedMemoryMethods("Cuda")}
}`;

const MODEL_REPOSITORY = `package inference.model_repository;
${REPOSITORY} service ModelRepositoryService { ${REPOSITORY_METHODS} }`;

const HEALTH = `package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
message HealthCheckResponse { ServingStatus status = 1; }
service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}`;

const reflection = (version: string): string => `package grpc.reflection.${version};
message ExtensionRequest { string containing_type = 1; int32 extension_number = 2; }
message ServerReflectionRequest { string host = 1; oneof message_request { string file_by_filename = 3;
  string file_containing_symbol = 4; ExtensionRequest file_containing_extension = 5;
  string all_extension_numbers_of_type = 6; string list_services = 7; } }
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ExtensionNumberResponse { string base_type_name = 1; repeated int32 extension_number = 2; }
message ServiceResponse { string name = 1; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ErrorResponse { int32 error_code = 1; string error_message = 2; }
message ServerReflectionResponse { string valid_host = 1; ServerReflectionRequest original_request = 2;
  oneof message_response { FileDescriptorResponse file_descriptor_response = 4;
  ExtensionNumberResponse all_extension_numbers_response = 5; ListServiceResponse list_services_response = 6;
  ErrorResponse error_response = 7; } }
service ServerReflection { rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse); }`;

let parsed: readonly FileSchema[] | undefined;

/** All files; read when first asked for. */
export function protoFiles(): readonly FileSchema[] {
  parsed ??= [
    parseProto("inference.proto", INFERENCE),
    parseProto("model_repository.proto", MODEL_REPOSITORY),
    parseProto("grpc/health/v1/health.proto", HEALTH),
    parseProto("grpc/reflection/v1/reflection.proto", reflection("v1")),
    parseProto("grpc/reflection/v1alpha/reflection.proto", reflection("v1alpha")),
  ];
  return parsed;
}
