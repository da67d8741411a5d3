import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/types.js";
import type { ApiRequest, ApiResponse, Registry, ResourceType } from "../types.js";
import { type ConversionCaller, conversionOf } from "./conversion.js";
import type { CustomType } from "./custom-type.js";
import type { DefinitionHost } from "./definitions.js";
import { answerDiscovery } from "./discovery.js";
import { nativeTypes } from "./native-resources.js";
import { OpenApi } from "./openapi.js";
import { typesOf } from "./shared-types.js";
import { answerVersion } from "./version.js";

/** What a registry may be given. */
export interface RegistryOptions {
  /** Told when a definition cannot be served. */
  readonly log?: Logger;
  /** Asks conversion webhooks; absent: versions differ in `apiVersion` alone. */
  readonly convert?: ConversionCaller;
  /** Served besides Kubernetes' own and what definitions bring. */
  readonly more?: readonly ResourceType[];
}

/** A registry whose custom resources are set by `DefinitionController`. */
export interface LiveRegistry extends Registry, DefinitionHost {}

/** A registry with every native resource and no custom ones. */
export function createRegistry(options: RegistryOptions = {}): LiveRegistry {
  return new ResourceRegistry(options);
}

const coordinates = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`;

class ResourceRegistry implements LiveRegistry {
  readonly #options: RegistryOptions;
  readonly #native = new Map<string, ResourceType>();
  /** Types by name of the CRD. */
  readonly #custom = new Map<string, readonly CustomType[]>();
  #byCoordinates = new Map<string, ResourceType>();
  #all: readonly ResourceType[] = [];
  #revision = 1;
  readonly #openApi = new OpenApi();

  constructor(options: RegistryOptions) {
    this.#options = options;
    for (const type of [...nativeTypes(), ...(options.more ?? [])])
      this.#native.set(coordinates(type.group, type.version, type.plural), type);
    this.#rebuild();
  }

  get revision(): number {
    return this.#revision;
  }

  find(group: string, version: string, plural: string): ResourceType | undefined {
    return this.#byCoordinates.get(coordinates(group, version, plural));
  }

  all(): readonly ResourceType[] {
    return this.#all;
  }

  answer(request: ApiRequest): ApiResponse | undefined {
    return (
      answerVersion(request) ??
      answerDiscovery(request, this.#all) ??
      this.#openApi.answer(request, this.#all, this.#revision)
    );
  }

  /** Serves the versions of a CRD, or stops serving them (`definition` absent). */
  setDefinition(name: string, definition: JsonObject | undefined): void {
    if (definition === undefined) {
      if (!this.#custom.delete(name)) return;
    } else {
      try {
        const convert = conversionOf(definition, this.#options.convert);
        this.#custom.set(name, typesOf(definition, convert));
      } catch (error) {
        this.#options.log?.error("a custom resource definition cannot be served", { err: error, definition: name });
        this.#custom.delete(name);
      }
    }
    this.#revision += 1;
    this.#rebuild();
  }

  #rebuild(): void {
    const all: ResourceType[] = [...this.#native.values()];
    for (const types of this.#custom.values()) all.push(...types);
    this.#all = all;
    this.#byCoordinates = new Map(all.map((type) => [coordinates(type.group, type.version, type.plural), type]));
  }
}
