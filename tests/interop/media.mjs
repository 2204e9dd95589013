// The official TypeScript client's image and speech paths, as its documentation shows them, against a local network.
//
//   node media.mjs RECORDING.wav    one JSON line for each type of service
//
// What it needs is in the environment: RPC_URL, PRIVATE_KEY, PROVIDERS (of images and of speech, both funded).

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'

import { createZGComputeNetworkBroker, InferenceVerifier } from '@0gfoundation/0g-compute-ts-sdk'
import { JsonRpcProvider, Wallet } from 'ethers'

// The client prints while it works; our lines have to stay whole.
console.log = console.info = console.error

const chain = new JsonRpcProvider(process.env.RPC_URL, undefined, { cacheTimeout: -1 })
const { inference } = await createZGComputeNetworkBroker(new Wallet(process.env.PRIVATE_KEY, chain))
const [drawer, hearer] = process.env.PROVIDERS.split(',')
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** The signature under a key, checked with the client's own helper. */
async function signed(provider, chatId) {
    assert.equal(await inference.processResponse(provider, chatId), true)
    const link = await inference.getChatSignatureDownloadLink(provider, chatId)
    const signature = await (await fetch(link)).json()
    const service = (await inference.listService()).find((one) => one.provider === provider)
    assert.ok(InferenceVerifier.verifySignature(signature.text, signature.signature, service.teeSignerAddress))
    return signature.text
}

const steps = {
    async image() {
        const { endpoint, model } = await inference.getServiceMetadata(drawer)
        const body = JSON.stringify({ model, prompt: 'A cute baby sea otter', n: 2, size: '256x256' })
        const headers = { 'Content-Type': 'application/json', ...(await inference.getRequestHeaders(drawer)) }
        const response = await fetch(`${endpoint}/images/generations`, { method: 'POST', headers, body })
        const data = await response.json()
        assert.ok(response.ok, JSON.stringify(data))
        const images = data.data.map((entry) => Buffer.from(entry.b64_json, 'base64'))
        const text = await signed(drawer, response.headers.get('ZG-Res-Key'))
        assert.equal(text, `${sha256(body)}:${images.map(sha256).join(',')}`)
        return { images: images.length, kind: images[0].subarray(1, 4).toString() }
    },

    async speech() {
        const { endpoint, model } = await inference.getServiceMetadata(hearer)
        const form = new FormData()
        form.append('file', new Blob([await readFile(process.argv[2])], { type: 'audio/wav' }), 'said.wav')
        form.append('model', model)
        form.append('response_format', 'json')
        // Taken apart once, so that the bytes which are signed are known.
        const encoded = new Request('http://localhost/', { method: 'POST', body: form })
        const body = Buffer.from(await encoded.arrayBuffer())
        const kind = encoded.headers.get('content-type')
        const headers = { 'Content-Type': kind, ...(await inference.getRequestHeaders(hearer)) }
        const response = await fetch(`${endpoint}/audio/transcriptions`, { method: 'POST', headers, body })
        const received = Buffer.from(await response.arrayBuffer())
        assert.ok(response.ok, received.toString())
        const text = await signed(hearer, response.headers.get('ZG-Res-Key'))
        assert.equal(text, `${sha256(body)}:${sha256(received)}`)
        return { text: JSON.parse(received).text }
    },
}

let good = true
for (const [step, action] of Object.entries(steps)) {
    const line = { step }
    try {
        Object.assign(line, { ok: true, facts: await action() })
    } catch (error) {
        Object.assign(line, { ok: false, said: `${error.name}: ${error.message}`, where: error.stack })
    }
    process.stdout.write(JSON.stringify(line) + '\n')
    good &&= line.ok
}
process.exit(good ? 0 : 1)
